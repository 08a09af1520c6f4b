"""Where the relay delivers to; each sink is a `bentos.stream.sink.Sink`."""

"""Apache Kafka itself, for those who have no cluster at hand: from Maven Central, on a JDK."""

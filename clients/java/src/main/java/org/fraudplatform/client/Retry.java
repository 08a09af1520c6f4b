package org.fraudplatform.client;

import java.net.http.HttpResponse;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;

/**
 * How often and when to try again.
 *
 * <p>Every call is safe to repeat: the server knows transactions by their transaction_id and labels
 * by what they say, and gives the first answer again.
 *
 * @param attempts in all
 * @param base the pause before the second attempt is random, up to this; it doubles each time
 * @param longest no pause is longer; a server that asks for more is not waited for
 */
public record Retry(int attempts, Duration base, Duration longest) {

    /** Five attempts, pauses up to 0.2 seconds at first and 10 seconds at last. */
    public static final Retry DEFAULT =
        new Retry(5, Duration.ofMillis(200), Duration.ofSeconds(10));

    static final Retry ONCE = new Retry(1, Duration.ZERO, Duration.ZERO);

    /** Statuses after which the same request may succeed; 502 and 504 come from gateways. */
    private static final Set<Integer> RETRIED = Set.of(429, 502, 503, 504);

    /**
     * How long to wait after an attempt.
     *
     * @param attempt counted from 1
     * @param response what was answered, or null
     * @return empty to give up
     */
    Optional<Duration> pause(int attempt, HttpResponse<?> response) {
        if (attempt >= attempts || (response != null && !RETRIED.contains(response.statusCode()))) {
            return Optional.empty();
        }
        Optional<Duration> asked = response == null ? Optional.empty() : retryAfter(response);
        if (asked.isPresent()) {
            // A little later each, so that clients who were sent away together return apart.
            return asked.filter(each -> each.compareTo(longest) <= 0).map(each -> each.plus(upTo(base)));
        }
        Duration bound = base.multipliedBy(1L << Math.min(attempt - 1, 20));
        return Optional.of(upTo(bound.compareTo(longest) < 0 ? bound : longest));
    }

    /** What the header Retry-After asks for, be it seconds or a date. */
    static Optional<Duration> retryAfter(HttpResponse<?> response) {
        return response.headers().firstValue("retry-after").map(String::strip).flatMap(Retry::parsed);
    }

    private static Optional<Duration> parsed(String value) {
        if (value.matches("\\d{1,9}")) {
            return Optional.of(Duration.ofSeconds(Long.parseLong(value)));
        }
        try {
            Instant moment =
                ZonedDateTime.parse(value, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant();
            Duration left = Duration.between(Instant.now(), moment);
            return Optional.of(left.isNegative() ? Duration.ZERO : left);
        } catch (DateTimeException error) {
            return Optional.empty();
        }
    }

    private static Duration upTo(Duration bound) {
        return Duration.ofNanos(ThreadLocalRandom.current().nextLong(bound.toNanos() + 1));
    }
}

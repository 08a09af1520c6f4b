package org.fraudplatform.client;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.fraudplatform.client.model.Problem;

/** The server said no; what it says is an RFC 9457 problem. */
public final class ProblemException extends FraudClientException {

    private static final long serialVersionUID = 1L;

    /** What a refusal means to the caller. */
    public enum Kind {
        /** 400 404 405 408 413 415 422 431: sent again, it would be refused again. */
        INVALID_REQUEST,
        /** 401: no token, or one that proves nothing, renewed once already. */
        UNAUTHENTICATED,
        /** 403: the token lacks the scope. */
        FORBIDDEN,
        /** 409: the transaction_id is known with another body. */
        CONFLICT,
        /** 429: at every attempt. */
        RATE_LIMITED,
        /** 502 503 504: at every attempt. */
        UNAVAILABLE,
        /** Anything else. */
        SERVER_ERROR;

        static Kind of(int status) {
            return switch (status) {
                case 400, 404, 405, 408, 413, 415, 422, 431 -> INVALID_REQUEST;
                case 401 -> UNAUTHENTICATED;
                case 403 -> FORBIDDEN;
                case 409 -> CONFLICT;
                case 429 -> RATE_LIMITED;
                case 502, 503, 504 -> UNAVAILABLE;
                default -> SERVER_ERROR;
            };
        }
    }

    private final transient Problem problem;
    private final int status;
    private final String transactionId;
    private final Duration retryAfter;

    /**
     * @param status the HTTP status
     * @param body what was answered; null, or without a type, where something in between did
     * @param transactionId the item of a batch it is about, or null
     * @param retryAfter when to come back, or null
     */
    ProblemException(int status, Problem body, String transactionId, Duration retryAfter) {
        super(message(status, known(status, body)), null);
        this.problem = known(status, body);
        this.status = status;
        this.transactionId = transactionId;
        this.retryAfter = retryAfter;
    }

    /** The problem object, as answered. */
    public Problem problem() {
        return problem;
    }

    /** The HTTP status. */
    public int status() {
        return status;
    }

    /** What it means to the caller. */
    public Kind kind() {
        return Kind.of(status);
    }

    /** The last part of the problem's type, e.g. {@code invalid-field}. */
    public String slug() {
        return problem.type().substring(problem.type().lastIndexOf(':') + 1);
    }

    /** What is wrong with which field, and what to do. */
    public List<Problem.Error> errors() {
        return problem.errors() == null ? List.of() : problem.errors();
    }

    /** The item of a batch it is about. */
    public Optional<String> transactionId() {
        return Optional.ofNullable(transactionId);
    }

    /** After which time to come back, where the server said so. */
    public Optional<Duration> retryAfter() {
        return Optional.ofNullable(retryAfter);
    }

    private static String message(int status, Problem problem) {
        return status + " " + problem.title() + ": " + problem.detail();
    }

    private static Problem known(int status, Problem body) {
        if (body != null && body.type() != null && body.detail() != null) {
            return body;
        }
        return new Problem(
            "about:blank",
            "The answer is not a problem object",
            (long) status,
            "Something between the client and the service may have answered.",
            null,
            null);
    }
}

package org.fraudplatform.client;

/**
 * Base of all errors of this client.
 *
 * <pre>
 * FraudClientException
 * +-- NoAnswerException     no connection, or no answer in time, at every attempt
 * +-- ProblemException      the server answered, and said no; its kind() says how
 * </pre>
 */
public sealed class FraudClientException extends RuntimeException
    permits NoAnswerException, ProblemException {

    private static final long serialVersionUID = 1L;

    FraudClientException(String message, Throwable cause) {
        super(message, cause);
    }
}

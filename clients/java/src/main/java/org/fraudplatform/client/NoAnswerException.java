package org.fraudplatform.client;

/** The server could not be reached, or did not answer in time. */
public final class NoAnswerException extends FraudClientException {

    private static final long serialVersionUID = 1L;

    NoAnswerException(Throwable cause) {
        super("No answer: " + cause, cause);
    }
}

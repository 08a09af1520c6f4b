package org.fraudplatform.client;

import org.fraudplatform.client.model.FraudPrediction;

/** What became of one item of a batch. */
public sealed interface Outcome {

    /** It was decided. */
    record Decided(FraudPrediction prediction) implements Outcome {}

    /** It was refused; the others were not affected. */
    record Refused(ProblemException problem) implements Outcome {}
}

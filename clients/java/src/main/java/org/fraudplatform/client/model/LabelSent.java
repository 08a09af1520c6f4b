// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.time.Instant;

/** A verdict about a transaction. */
@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record LabelSent(
    @JsonProperty("transaction_id") String transactionId,
    @JsonProperty("is_fraud") Boolean isFraud,
    @JsonProperty("source") String source,
    @JsonProperty("reported_at") @JsonFormat(shape = JsonFormat.Shape.STRING) Instant reportedAt) {
}

// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.time.Instant;
import java.util.Map;

/** What became of a label. */
@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record LabelTold(
    @JsonProperty("transaction_id") String transactionId,
    @JsonProperty("status") String status,
    @JsonProperty("reported_at") @JsonFormat(shape = JsonFormat.Shape.STRING) Instant reportedAt,
    @JsonProperty("acted") Boolean acted,
    @JsonProperty("error") Map<String, Object> error) {
}

// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;

@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record ItemProblem(
    @JsonProperty("transaction_id") String transactionId,
    @JsonProperty("error") Problem error) {
}

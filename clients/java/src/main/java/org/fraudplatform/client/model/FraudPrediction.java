// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.time.Instant;
import java.util.List;

@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record FraudPrediction(
    @JsonProperty("transaction_id") String transactionId,
    @JsonProperty("decision_id") String decisionId,
    @JsonProperty("fraud_type") String fraudType,
    @JsonProperty("fraud_probability") Double fraudProbability,
    @JsonProperty("risk_level") String riskLevel,
    @JsonProperty("recommended_action") String recommendedAction,
    @JsonProperty("reasons") List<Reason> reasons,
    @JsonProperty("rules") List<String> rules,
    @JsonProperty("model_version") String modelVersion,
    @JsonProperty("policy_version") String policyVersion,
    @JsonProperty("degraded") Boolean degraded,
    @JsonProperty("scored_at") @JsonFormat(shape = JsonFormat.Shape.STRING) Instant scoredAt,
    @JsonProperty("replayed") Boolean replayed) {
    @JsonInclude(JsonInclude.Include.NON_NULL)
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Reason(
        @JsonProperty("code") String code,
        @JsonProperty("text") String text,
        @JsonProperty("feature") String feature,
        @JsonProperty("value") Double value,
        @JsonProperty("contribution") Double contribution) {
    }
}

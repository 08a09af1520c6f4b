// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.time.Instant;
import java.util.Map;

@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record Health(
    @JsonProperty("status") String status,
    @JsonProperty("database") Database database,
    @JsonProperty("journal") Journal journal,
    @JsonProperty("champions") Map<String, Champion> champions,
    @JsonProperty("schema") Schema schema,
    @JsonProperty("version") String version) {
    @JsonInclude(JsonInclude.Include.NON_NULL)
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Database(
        @JsonProperty("status") String status,
        @JsonProperty("latency_ms") Double latencyMs,
        @JsonProperty("checked_at") @JsonFormat(shape = JsonFormat.Shape.STRING) Instant checkedAt,
        @JsonProperty("problem") String problem) {
    }

    @JsonInclude(JsonInclude.Include.NON_NULL)
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Journal(
        @JsonProperty("decisions") Long decisions,
        @JsonProperty("bytes") Long bytes,
        @JsonProperty("breaker") String breaker,
        @JsonProperty("problem") String problem) {
    }

    @JsonInclude(JsonInclude.Include.NON_NULL)
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Champion(
        @JsonProperty("model_version") String modelVersion,
        @JsonProperty("promoted_at") @JsonFormat(shape = JsonFormat.Shape.STRING) Instant promotedAt,
        @JsonProperty("status") String status,
        @JsonProperty("problem") String problem) {
    }

    @JsonInclude(JsonInclude.Include.NON_NULL)
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Schema(
        @JsonProperty("ledger") String ledger,
        @JsonProperty("ledger_expected") String ledgerExpected,
        @JsonProperty("features") Map<String, String> features) {
    }
}

// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.math.BigDecimal;
import java.time.Instant;

/** An attempt to log in, or to change something that guards an account. */
@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record AccountAccess(
    @JsonProperty("transaction_id") String transactionId,
    @JsonProperty("timestamp") @JsonFormat(shape = JsonFormat.Shape.STRING) Instant timestamp,
    @JsonProperty("amount") BigDecimal amount,
    @JsonProperty("fraud_type") String fraudType,
    @JsonProperty("user_id") String userId,
    @JsonProperty("action") String action,
    @JsonProperty("succeeded") Boolean succeeded,
    @JsonProperty("failure_id") String failureId,
    @JsonProperty("ip_address") String ipAddress,
    @JsonProperty("ip_network") String ipNetwork,
    @JsonProperty("ip_is_proxy") Boolean ipIsProxy,
    @JsonProperty("device_id") String deviceId,
    @JsonProperty("mfa_passed") Boolean mfaPassed,
    @JsonProperty("country") String country,
    @JsonProperty("latitude") Double latitude,
    @JsonProperty("longitude") Double longitude,
    @JsonProperty("time_zone") String timeZone) implements TransactionData {
    /** Starts a AccountAccess; these fields are required. */
    public static Builder builder(String transactionId, String userId, String action, Boolean succeeded) {
        return new Builder(transactionId, userId, action, succeeded);
    }

    /** Takes the optional fields. */
    public static final class Builder {
        private final String transactionId;
        private final String userId;
        private final String action;
        private final Boolean succeeded;
        private Instant timestamp;
        private BigDecimal amount;
        private String failureId;
        private String ipAddress;
        private String ipNetwork;
        private Boolean ipIsProxy;
        private String deviceId;
        private Boolean mfaPassed;
        private String country;
        private Double latitude;
        private Double longitude;
        private String timeZone;

        private Builder(String transactionId, String userId, String action, Boolean succeeded) {
            this.transactionId = transactionId;
            this.userId = userId;
            this.action = action;
            this.succeeded = succeeded;
        }

        public Builder timestamp(Instant value) {
            this.timestamp = value;
            return this;
        }

        public Builder amount(BigDecimal value) {
            this.amount = value;
            return this;
        }

        public Builder failureId(String value) {
            this.failureId = value;
            return this;
        }

        public Builder ipAddress(String value) {
            this.ipAddress = value;
            return this;
        }

        public Builder ipNetwork(String value) {
            this.ipNetwork = value;
            return this;
        }

        public Builder ipIsProxy(Boolean value) {
            this.ipIsProxy = value;
            return this;
        }

        public Builder deviceId(String value) {
            this.deviceId = value;
            return this;
        }

        public Builder mfaPassed(Boolean value) {
            this.mfaPassed = value;
            return this;
        }

        public Builder country(String value) {
            this.country = value;
            return this;
        }

        public Builder latitude(Double value) {
            this.latitude = value;
            return this;
        }

        public Builder longitude(Double value) {
            this.longitude = value;
            return this;
        }

        public Builder timeZone(String value) {
            this.timeZone = value;
            return this;
        }

        public AccountAccess build() {
            return new AccountAccess(transactionId, timestamp, amount, "account_takeover", userId, action, succeeded, failureId, ipAddress, ipNetwork, ipIsProxy, deviceId, mfaPassed, country, latitude, longitude, timeZone);
        }
    }
}

// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.math.BigDecimal;
import java.time.Instant;

/** An application for an account as it arrives. Identities go by pseudonyms (a keyed hash will do): equal people must have equal ones, and nothing else of them is looked at. */
@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record AccountApplication(
    @JsonProperty("transaction_id") String transactionId,
    @JsonProperty("timestamp") @JsonFormat(shape = JsonFormat.Shape.STRING) Instant timestamp,
    @JsonProperty("amount") BigDecimal amount,
    @JsonProperty("fraud_type") String fraudType,
    @JsonProperty("email") String email,
    @JsonProperty("ip_address") String ipAddress,
    @JsonProperty("email_domain") String emailDomain,
    @JsonProperty("ip_network") String ipNetwork,
    @JsonProperty("device_id") String deviceId,
    @JsonProperty("phone_id") String phoneId,
    @JsonProperty("identity_id") String identityId,
    @JsonProperty("address_id") String addressId,
    @JsonProperty("channel") String channel,
    @JsonProperty("ip_country") String ipCountry,
    @JsonProperty("ip_is_proxy") Boolean ipIsProxy,
    @JsonProperty("country_mismatch") Boolean countryMismatch,
    @JsonProperty("email_age_days") Double emailAgeDays,
    @JsonProperty("age_years") Double ageYears,
    @JsonProperty("seconds_to_complete") Double secondsToComplete,
    @JsonProperty("time_zone") String timeZone) implements TransactionData {
    /** Starts a AccountApplication; these fields are required. */
    public static Builder builder(String transactionId, String email, String ipAddress) {
        return new Builder(transactionId, email, ipAddress);
    }

    /** Takes the optional fields. */
    public static final class Builder {
        private final String transactionId;
        private final String email;
        private final String ipAddress;
        private Instant timestamp;
        private BigDecimal amount;
        private String emailDomain;
        private String ipNetwork;
        private String deviceId;
        private String phoneId;
        private String identityId;
        private String addressId;
        private String channel;
        private String ipCountry;
        private Boolean ipIsProxy;
        private Boolean countryMismatch;
        private Double emailAgeDays;
        private Double ageYears;
        private Double secondsToComplete;
        private String timeZone;

        private Builder(String transactionId, String email, String ipAddress) {
            this.transactionId = transactionId;
            this.email = email;
            this.ipAddress = ipAddress;
        }

        public Builder timestamp(Instant value) {
            this.timestamp = value;
            return this;
        }

        public Builder amount(BigDecimal value) {
            this.amount = value;
            return this;
        }

        public Builder emailDomain(String value) {
            this.emailDomain = value;
            return this;
        }

        public Builder ipNetwork(String value) {
            this.ipNetwork = value;
            return this;
        }

        public Builder deviceId(String value) {
            this.deviceId = value;
            return this;
        }

        public Builder phoneId(String value) {
            this.phoneId = value;
            return this;
        }

        public Builder identityId(String value) {
            this.identityId = value;
            return this;
        }

        public Builder addressId(String value) {
            this.addressId = value;
            return this;
        }

        public Builder channel(String value) {
            this.channel = value;
            return this;
        }

        public Builder ipCountry(String value) {
            this.ipCountry = value;
            return this;
        }

        public Builder ipIsProxy(Boolean value) {
            this.ipIsProxy = value;
            return this;
        }

        public Builder countryMismatch(Boolean value) {
            this.countryMismatch = value;
            return this;
        }

        public Builder emailAgeDays(Double value) {
            this.emailAgeDays = value;
            return this;
        }

        public Builder ageYears(Double value) {
            this.ageYears = value;
            return this;
        }

        public Builder secondsToComplete(Double value) {
            this.secondsToComplete = value;
            return this;
        }

        public Builder timeZone(String value) {
            this.timeZone = value;
            return this;
        }

        public AccountApplication build() {
            return new AccountApplication(transactionId, timestamp, amount, "account_opening", email, ipAddress, emailDomain, ipNetwork, deviceId, phoneId, identityId, addressId, channel, ipCountry, ipIsProxy, countryMismatch, emailAgeDays, ageYears, secondsToComplete, timeZone);
        }
    }
}

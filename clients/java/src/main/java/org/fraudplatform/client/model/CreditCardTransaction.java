// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.math.BigDecimal;
import java.time.Instant;

/** A card payment as it arrives. */
@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record CreditCardTransaction(
    @JsonProperty("transaction_id") String transactionId,
    @JsonProperty("timestamp") @JsonFormat(shape = JsonFormat.Shape.STRING) Instant timestamp,
    @JsonProperty("amount") BigDecimal amount,
    @JsonProperty("fraud_type") String fraudType,
    @JsonProperty("user_id") String userId,
    @JsonProperty("merchant_id") String merchantId,
    @JsonProperty("merchant_category") String merchantCategory,
    @JsonProperty("distance_from_home_km") Double distanceFromHomeKm,
    @JsonProperty("foreign_transaction") Boolean foreignTransaction,
    @JsonProperty("card_present") Boolean cardPresent,
    @JsonProperty("used_chip") Boolean usedChip,
    @JsonProperty("device_id") String deviceId,
    @JsonProperty("cvc_check") String cvcCheck,
    @JsonProperty("address_check") String addressCheck,
    @JsonProperty("three_d_secure") Boolean threeDSecure,
    @JsonProperty("country") String country,
    @JsonProperty("latitude") Double latitude,
    @JsonProperty("longitude") Double longitude,
    @JsonProperty("time_zone") String timeZone) implements TransactionData {
    /** Starts a CreditCardTransaction; these fields are required. */
    public static Builder builder(String transactionId, BigDecimal amount, String userId, String merchantId, String merchantCategory) {
        return new Builder(transactionId, amount, userId, merchantId, merchantCategory);
    }

    /** Takes the optional fields. */
    public static final class Builder {
        private final String transactionId;
        private final BigDecimal amount;
        private final String userId;
        private final String merchantId;
        private final String merchantCategory;
        private Instant timestamp;
        private Double distanceFromHomeKm;
        private Boolean foreignTransaction;
        private Boolean cardPresent;
        private Boolean usedChip;
        private String deviceId;
        private String cvcCheck;
        private String addressCheck;
        private Boolean threeDSecure;
        private String country;
        private Double latitude;
        private Double longitude;
        private String timeZone;

        private Builder(String transactionId, BigDecimal amount, String userId, String merchantId, String merchantCategory) {
            this.transactionId = transactionId;
            this.amount = amount;
            this.userId = userId;
            this.merchantId = merchantId;
            this.merchantCategory = merchantCategory;
        }

        public Builder timestamp(Instant value) {
            this.timestamp = value;
            return this;
        }

        public Builder distanceFromHomeKm(Double value) {
            this.distanceFromHomeKm = value;
            return this;
        }

        public Builder foreignTransaction(Boolean value) {
            this.foreignTransaction = value;
            return this;
        }

        public Builder cardPresent(Boolean value) {
            this.cardPresent = value;
            return this;
        }

        public Builder usedChip(Boolean value) {
            this.usedChip = value;
            return this;
        }

        public Builder deviceId(String value) {
            this.deviceId = value;
            return this;
        }

        public Builder cvcCheck(String value) {
            this.cvcCheck = value;
            return this;
        }

        public Builder addressCheck(String value) {
            this.addressCheck = value;
            return this;
        }

        public Builder threeDSecure(Boolean value) {
            this.threeDSecure = value;
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

        public CreditCardTransaction build() {
            return new CreditCardTransaction(transactionId, timestamp, amount, "credit_card", userId, merchantId, merchantCategory, distanceFromHomeKm, foreignTransaction, cardPresent, usedChip, deviceId, cvcCheck, addressCheck, threeDSecure, country, latitude, longitude, timeZone);
        }
    }
}

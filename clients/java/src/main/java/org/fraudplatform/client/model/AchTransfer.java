// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

import com.fasterxml.jackson.annotation.JsonFormat;
import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.math.BigDecimal;
import java.time.Instant;

/** An ACH entry as it is originated. */
@JsonInclude(JsonInclude.Include.NON_NULL)
@JsonIgnoreProperties(ignoreUnknown = true)
public record AchTransfer(
    @JsonProperty("transaction_id") String transactionId,
    @JsonProperty("timestamp") @JsonFormat(shape = JsonFormat.Shape.STRING) Instant timestamp,
    @JsonProperty("amount") BigDecimal amount,
    @JsonProperty("fraud_type") String fraudType,
    @JsonProperty("user_id") String userId,
    @JsonProperty("sender_id") String senderId,
    @JsonProperty("receiver_id") String receiverId,
    @JsonProperty("sec_code") String secCode,
    @JsonProperty("direction") String direction,
    @JsonProperty("same_day") Boolean sameDay,
    @JsonProperty("sender_balance") Double senderBalance,
    @JsonProperty("receiver_balance") Double receiverBalance,
    @JsonProperty("device_id") String deviceId) implements TransactionData {
    /** Starts a AchTransfer; these fields are required. */
    public static Builder builder(String transactionId, BigDecimal amount, String userId, String senderId, String receiverId, String secCode, String direction) {
        return new Builder(transactionId, amount, userId, senderId, receiverId, secCode, direction);
    }

    /** Takes the optional fields. */
    public static final class Builder {
        private final String transactionId;
        private final BigDecimal amount;
        private final String userId;
        private final String senderId;
        private final String receiverId;
        private final String secCode;
        private final String direction;
        private Instant timestamp;
        private Boolean sameDay;
        private Double senderBalance;
        private Double receiverBalance;
        private String deviceId;

        private Builder(String transactionId, BigDecimal amount, String userId, String senderId, String receiverId, String secCode, String direction) {
            this.transactionId = transactionId;
            this.amount = amount;
            this.userId = userId;
            this.senderId = senderId;
            this.receiverId = receiverId;
            this.secCode = secCode;
            this.direction = direction;
        }

        public Builder timestamp(Instant value) {
            this.timestamp = value;
            return this;
        }

        public Builder sameDay(Boolean value) {
            this.sameDay = value;
            return this;
        }

        public Builder senderBalance(Double value) {
            this.senderBalance = value;
            return this;
        }

        public Builder receiverBalance(Double value) {
            this.receiverBalance = value;
            return this;
        }

        public Builder deviceId(String value) {
            this.deviceId = value;
            return this;
        }

        public AchTransfer build() {
            return new AchTransfer(transactionId, timestamp, amount, "ach", userId, senderId, receiverId, secCode, direction, sameDay, senderBalance, receiverBalance, deviceId);
        }
    }
}

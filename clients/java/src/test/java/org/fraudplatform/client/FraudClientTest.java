package org.fraudplatform.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.net.ConnectException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.fraudplatform.client.ProblemException.Kind;
import org.fraudplatform.client.model.AccountAccess;
import org.fraudplatform.client.model.AccountApplication;
import org.fraudplatform.client.model.AchTransfer;
import org.fraudplatform.client.model.CreditCardTransaction;
import org.fraudplatform.client.model.LabelSent;
import org.fraudplatform.client.model.TransactionData;
import org.junit.jupiter.api.Test;

/** Run by tests/clients/test_java.py against a real service; a gateway loses what is lost. */
class FraudClientTest {

    private static final String URL = told("FRAUD_URL");
    private static final String TOKEN = told("FRAUD_TOKEN");
    private static final Retry QUICK = new Retry(3, Duration.ofMillis(10), Duration.ofSeconds(10));

    private static String told(String name) {
        return System.getenv(name);
    }

    private static CreditCardTransaction payment(String id, String amount) {
        return CreditCardTransaction.builder(
                id, new BigDecimal(amount), "USER_001", "MERCH_001", "electronics")
            .build();
    }

    private static CreditCardTransaction payment() {
        return payment(UUID.randomUUID().toString(), "12.50");
    }

    private static FraudClient client() {
        return FraudClient.at(URL).token(TOKEN).build();
    }

    private static FraudClient.Builder behind(String fault) {
        String url = told("GATEWAY_URL") + "/" + fault + "/" + UUID.randomUUID() + "/";
        return FraudClient.at(url).token(TOKEN).retry(QUICK);
    }

    private static ProblemException refusal(FraudClient client, TransactionData transaction) {
        return assertThrows(ProblemException.class, () -> client.predict(transaction));
    }

    @Test
    void everyFraudTypeIsDecided() {
        BigDecimal amount = new BigDecimal("1250.00");
        List<TransactionData> one =
            List.of(
                payment(),
                AccountApplication.builder(id(), "ann@mail.example", "192.0.2.7").build(),
                AccountAccess.builder(id(), "USER_1", "login", true).timestamp(Instant.now()).build(),
                AchTransfer.builder(id(), amount, "USER_1", "ACC_1", "ACC_2", "WEB", "credit").build());
        List<String> expected =
            List.of("credit_card-1", "account_opening-1", "account_takeover-1", "ach-1");
        assertEquals(expected, one.stream().map(each -> client().predict(each).modelVersion()).toList());
    }

    private static String id() {
        return UUID.randomUUID().toString();
    }

    @Test
    void aBatchGivesEachItemItsDecisionOrItsError() {
        List<CreditCardTransaction> items = List.of(payment(), payment(id(), "-1.00"), payment());
        List<Outcome> outcomes = client().batchPredict(items);
        var first = assertInstanceOf(Outcome.Decided.class, outcomes.get(0)).prediction();
        var refused = assertInstanceOf(Outcome.Refused.class, outcomes.get(1)).problem();
        var last = assertInstanceOf(Outcome.Decided.class, outcomes.get(2)).prediction();
        assertEquals(items.get(0).transactionId(), first.transactionId());
        assertEquals(items.get(2).transactionId(), last.transactionId());
        assertEquals(items.get(1).transactionId(), refused.transactionId().orElseThrow());
        assertEquals("invalid-field", refused.slug());
        assertEquals("amount", refused.errors().get(0).field());
    }

    @Test
    void labelsAreToldOnceThoughAnAnswerIsLost() {
        CreditCardTransaction payment = payment();
        client().predict(payment);
        LabelSent label = new LabelSent(payment.transactionId(), true, "chargeback", null);
        var told = behind("lost").build().labels(List.of(label), "credit_card");
        assertEquals("repeated", told.get(0).status());
    }

    @Test
    void healthNeedsNoToken() {
        assertEquals(4, FraudClient.at(URL).build().health().champions().size());
    }

    @Test
    void everyRefusalHasItsKind() {
        CreditCardTransaction known = payment();
        client().predict(known);
        ProblemException conflict = refusal(client(), payment(known.transactionId(), "99.00"));
        assertEquals(Kind.CONFLICT, conflict.kind());
        assertEquals("transaction_id", conflict.errors().get(0).field());
        assertEquals(Kind.INVALID_REQUEST, refusal(client(), payment("has spaces", "1.00")).kind());
        assertEquals(Kind.UNAUTHENTICATED, refusal(FraudClient.at(URL).build(), known).kind());
        FraudClient narrow = FraudClient.at(URL).token(told("NARROW_TOKEN")).build();
        assertEquals(Kind.FORBIDDEN, refusal(narrow, known).kind());
    }

    @Test
    void aLostAnswerIsAskedForAgain() {
        assertTrue(behind("lost").build().predict(payment()).replayed());
    }

    @Test
    void aLateAnswerIsAskedForAgain() {
        FraudClient hurried = behind("late").timeout(Duration.ofMillis(500)).build();
        assertTrue(hurried.predict(payment()).replayed());
    }

    @Test
    void a503IsWaitedForAsLongAsItSays() {
        long beganNs = System.nanoTime();
        assertFalse(behind("away").build().predict(payment()).replayed());
        assertTrue(System.nanoTime() - beganNs >= Duration.ofSeconds(1).toNanos());
    }

    @Test
    void a429IsWaitedFor() {
        FraudClient.Builder hasty = FraudClient.at(URL).token(told("HASTY_TOKEN"));
        FraudClient patient = hasty.build();
        FraudClient impatient = hasty.retry(Retry.ONCE).build();
        ProblemException limited =
            assertThrows(
                ProblemException.class,
                () -> {
                    while (true) {
                        impatient.predict(payment());
                    }
                });
        assertEquals(Kind.RATE_LIMITED, limited.kind());
        assertEquals(Duration.ofSeconds(1), limited.retryAfter().orElseThrow());
        assertFalse(patient.predict(payment()).decisionId().isEmpty());
    }

    @Test
    void whoIsSentAwayForLongIsToldAtOnce() {
        ProblemException banned = refusal(behind("banned").build(), payment());
        assertEquals(Kind.RATE_LIMITED, banned.kind());
        assertEquals(Duration.ofHours(1), banned.retryAfter().orElseThrow());
    }

    @Test
    void whatIsNoProblemObjectIsAnErrorToo() {
        ProblemException broken = refusal(behind("broken").build(), payment());
        assertEquals(Kind.UNAVAILABLE, broken.kind());
        assertEquals("about:blank", broken.problem().type());
    }

    @Test
    void nobodyThereIsNoAnswer() {
        FraudClient nobody = FraudClient.at(told("NOBODY_URL")).token("t").retry(QUICK).build();
        NoAnswerException error =
            assertThrows(NoAnswerException.class, () -> nobody.predict(payment()));
        assertInstanceOf(ConnectException.class, error.getCause());
    }

    @Test
    void aRefusedTokenIsRenewedOnceForAllWhoWait() {
        AtomicInteger count = new AtomicInteger();
        FraudClient shared =
            FraudClient.at(URL)
                .token(() -> count.getAndIncrement() == 0 ? told("EXPIRED_TOKEN") : TOKEN)
                .build();
        IntStream.range(0, 10).parallel().forEach(each -> shared.predict(payment()));
        assertEquals(2, count.get());
        AtomicInteger given = new AtomicInteger();
        FraudClient late =
            FraudClient.at(URL)
                .token(
                    () -> {
                        given.incrementAndGet();
                        return told("EXPIRED_TOKEN");
                    })
                .build();
        assertEquals(Kind.UNAUTHENTICATED, refusal(late, payment()).kind());
        assertEquals(2, given.get());
    }
}

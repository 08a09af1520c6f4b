package org.fraudplatform.client;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.datatype.jsr310.JavaTimeModule;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;
import org.fraudplatform.client.model.FraudPrediction;
import org.fraudplatform.client.model.Health;
import org.fraudplatform.client.model.LabelSent;
import org.fraudplatform.client.model.LabelTold;
import org.fraudplatform.client.model.LabelsSent;
import org.fraudplatform.client.model.LabelsTold;
import org.fraudplatform.client.model.Problem;
import org.fraudplatform.client.model.TransactionData;

/** Client of the fraud platform; safe to share between threads. */
public final class FraudClient {

    private static final JsonMapper JSON =
        JsonMapper.builder()
            .addModule(new JavaTimeModule())
            .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .build();

    private final String baseUrl;
    private final Supplier<String> provider;
    private final boolean canRenew;
    private final Duration timeout;
    private final Retry retry;
    private final HttpClient http;
    private final Object renewal = new Object();
    private String token;

    private FraudClient(Builder builder) {
        baseUrl = URI.create(builder.baseUrl).toString().replaceAll("/+$", "");
        provider = builder.provider;
        canRenew = builder.canRenew;
        timeout = builder.timeout;
        retry = builder.retry;
        http = builder.http;
    }

    /**
     * Starts a client.
     *
     * @param baseUrl e.g. {@code https://fraud.example.com}; a path before the routes is kept
     */
    public static Builder at(String baseUrl) {
        return new Builder(baseUrl);
    }

    /**
     * Decides on one transaction.
     *
     * @throws ProblemException the server said no
     * @throws NoAnswerException it said nothing
     */
    public FraudPrediction predict(TransactionData transaction) {
        return read(answer(Call.post("/predict", transaction), retry), FraudPrediction.class);
    }

    /**
     * Decides on up to 1,000 transactions; each gets its decision or its own error, in order.
     *
     * @throws ProblemException the server refused them all
     * @throws NoAnswerException it said nothing
     */
    public List<Outcome> batchPredict(List<? extends TransactionData> transactions) {
        Call call = Call.post("/batch-predict", Map.of("transactions", transactions));
        List<Outcome> outcomes = new ArrayList<>();
        for (JsonNode item : answer(call, retry).path("predictions")) {
            outcomes.add(outcome(item));
        }
        return outcomes;
    }

    /**
     * Tells up to 1,000 verdicts about transactions of one fraud type; each has its own fate.
     *
     * <p>One without a time is reported now.
     *
     * @throws ProblemException the server refused them all
     * @throws NoAnswerException it said nothing
     */
    public List<LabelTold> labels(List<LabelSent> labels, String fraudType) {
        // The server takes a verdict without a time as new each time it arrives.
        Instant now = Instant.now();
        List<LabelSent> told =
            labels.stream()
                .map(each -> each.reportedAt() == null ? reported(each, now) : each)
                .toList();
        String query = "?fraud_type=" + URLEncoder.encode(fraudType, StandardCharsets.UTF_8);
        Call call = Call.post("/labels" + query, new LabelsSent(told));
        return read(answer(call, retry), LabelsTold.class).labels();
    }

    /**
     * Whether predictions can be answered; asked once, and {@code unavailable} is an answer too.
     *
     * @throws ProblemException something else answered
     * @throws NoAnswerException nothing did
     */
    public Health health() {
        Call call = new Call("GET", "/health", null, true, Set.of(200, 503));
        return read(answer(call, Retry.ONCE), Health.class);
    }

    private JsonNode answer(Call call, Retry retry) {
        String content = call.body == null ? null : written(call.body);
        String current = call.isOpen ? null : token(null);
        boolean mayRenew = !call.isOpen && canRenew;
        for (int attempt = 1; ; attempt++) {
            HttpResponse<String> response = null;
            IOException failure = null;
            try {
                HttpRequest request = request(call, content, current);
                response = http.send(request, HttpResponse.BodyHandlers.ofString());
            } catch (IOException error) {
                failure = error;
            } catch (InterruptedException error) {
                throw interrupted(error);
            }
            JsonNode body = response == null ? null : parsed(response.body());
            if (response != null && call.accepted.contains(response.statusCode()) && body != null) {
                return body;
            }
            if (response != null && response.statusCode() == 401 && mayRenew) {
                mayRenew = false;
                current = token(current);
                attempt--;
                continue;
            }
            Optional<Duration> pause = retry.pause(attempt, response);
            if (pause.isEmpty()) {
                throw response == null ? new NoAnswerException(failure) : problem(response, body);
            }
            sleep(pause.get());
        }
    }

    private HttpRequest request(Call call, String content, String current) {
        URI uri = URI.create(baseUrl + call.path);
        HttpRequest.Builder request = HttpRequest.newBuilder(uri).timeout(timeout);
        if ("http".equals(uri.getScheme())) {
            // Without TLS the JDK asks for an upgrade to HTTP/2, which many servers cannot bear.
            request.version(HttpClient.Version.HTTP_1_1);
        }
        if (current != null) {
            request.header("Authorization", "Bearer " + current);
        }
        if (content == null) {
            return request.method(call.method, HttpRequest.BodyPublishers.noBody()).build();
        }
        request.header("Content-Type", "application/json");
        return request.method(call.method, HttpRequest.BodyPublishers.ofString(content)).build();
    }

    /** The token, or another one than the refused one; threads that wait for it share it. */
    private String token(String refused) {
        synchronized (renewal) {
            if (token == null || token.equals(refused)) {
                token = provider.get();
            }
            return token;
        }
    }

    private static Outcome outcome(JsonNode item) {
        if (!item.has("error")) {
            return new Outcome.Decided(read(item, FraudPrediction.class));
        }
        Problem problem = read(item.get("error"), Problem.class);
        String transactionId = item.path("transaction_id").textValue();
        int status = problem.status().intValue();
        return new Outcome.Refused(new ProblemException(status, problem, transactionId, null));
    }

    private static ProblemException problem(HttpResponse<String> response, JsonNode body) {
        Problem problem = body == null ? null : read(body, Problem.class);
        Duration retryAfter = Retry.retryAfter(response).orElse(null);
        return new ProblemException(response.statusCode(), problem, null, retryAfter);
    }

    private static LabelSent reported(LabelSent label, Instant now) {
        return new LabelSent(label.transactionId(), label.isFraud(), label.source(), now);
    }

    private static String written(Object body) {
        try {
            return JSON.writeValueAsString(body);
        } catch (JsonProcessingException error) {
            throw new IllegalArgumentException("The request cannot be written as JSON.", error);
        }
    }

    /** The body as a JSON object; null where it is none. */
    private static JsonNode parsed(String body) {
        try {
            JsonNode found = JSON.readTree(body);
            return found != null && found.isObject() ? found : null;
        } catch (JsonProcessingException error) {
            return null;
        }
    }

    private static <T> T read(JsonNode body, Class<T> type) {
        return JSON.convertValue(body, type);
    }

    private static void sleep(Duration pause) {
        try {
            Thread.sleep(pause.toMillis());
        } catch (InterruptedException error) {
            throw interrupted(error);
        }
    }

    private static NoAnswerException interrupted(InterruptedException error) {
        Thread.currentThread().interrupt();
        return new NoAnswerException(error);
    }

    /** A request, but for its token. */
    private record Call(
        String method, String path, Object body, boolean isOpen, Set<Integer> accepted) {

        static Call post(String path, Object body) {
            return new Call("POST", path, body, false, Set.of(200));
        }
    }

    /** What a client may be told beside its address. */
    public static final class Builder {
        private final String baseUrl;
        private Supplier<String> provider = () -> null;
        private boolean canRenew;
        private Duration timeout = Duration.ofSeconds(10);
        private Retry retry = Retry.DEFAULT;
        private HttpClient http;

        private Builder(String baseUrl) {
            this.baseUrl = baseUrl;
        }

        /** A bearer token. */
        public Builder token(String value) {
            provider = () -> value;
            canRenew = false;
            return this;
        }

        /** Fetches a token: at the first request, and once more when its token is refused. */
        public Builder token(Supplier<String> value) {
            provider = value;
            canRenew = true;
            return this;
        }

        /** Of each attempt; ten seconds unless given. */
        public Builder timeout(Duration value) {
            timeout = value;
            return this;
        }

        /** How often and when to try again. */
        public Builder retry(Retry value) {
            retry = value;
            return this;
        }

        /** Another way to send, e.g. one with your certificates. */
        public Builder http(HttpClient value) {
            http = value;
            return this;
        }

        public FraudClient build() {
            if (http == null) {
                http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(3)).build();
            }
            return new FraudClient(this);
        }
    }
}

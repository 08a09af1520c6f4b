import org.springframework.web.client.RestTemplate;

public class FraudDetectionClient {
    private RestTemplate restTemplate = new RestTemplate();
    private String baseUrl = "http://localhost:8000";
    
    public FraudPrediction checkFraud(TransactionData transaction) {
        return restTemplate.postForObject(
            baseUrl + "/predict", 
            transaction, 
            FraudPrediction.class
        );
    }
}

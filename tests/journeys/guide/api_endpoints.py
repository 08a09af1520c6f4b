def test_api_endpoints():
    from fastapi.testclient import TestClient
    from fraud_detection_api import app
    
    client = TestClient(app)
    
    # Test health endpoint
    response = client.get("/health")
    assert response.status_code == 200
    
    # Test prediction endpoint
    transaction_data = {
        "transaction_id": "TXN_001",
        "amount": 100.0,
        "user_id": "USER_001",
        "merchant_id": "MERCH_001",
        "merchant_category": "electronics"
    }
    
    response = client.post("/predict", json=transaction_data)
    assert response.status_code == 200
    assert "fraud_probability" in response.json()

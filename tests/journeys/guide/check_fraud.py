import requests

def check_fraud(transaction_data):
    response = requests.post('http://localhost:8000/predict', json=transaction_data)
    return response.json()

# Usage
transaction = {
    "transaction_id": "TXN_123456",
    "amount": 150.00,
    "user_id": "USER_001",
    "merchant_id": "MERCH_001",
    "merchant_category": "electronics"
}

fraud_result = check_fraud(transaction)
print(f"Fraud probability: {fraud_result['fraud_probability']}")

const axios = require('axios');

async function checkFraud(transactionData) {
    try {
        const response = await axios.post('http://localhost:8000/predict', transactionData);
        return response.data;
    } catch (error) {
        console.error('Fraud check failed:', error);
        throw error;
    }
}

// Usage
const transaction = {
    transaction_id: "TXN_123456",
    amount: 150.00,
    user_id: "USER_001",
    merchant_id: "MERCH_001",
    merchant_category: "electronics"
};

const fraudResult = await checkFraud(transaction);
console.log('Fraud probability:', fraudResult.fraud_probability);

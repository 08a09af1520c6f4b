"""The service most tutorials build: FastAPI, and XGBoost asked with a one-row DataFrame.

No token is asked for, no history is looked up, and nothing is kept of what was answered.
The model is read from `model.json` in the working directory.
"""

import pandas as pd
import xgboost as xgb
from fastapi import FastAPI

from fraud.types.credit_card import CATEGORIES, CreditCardTransaction

MODEL_FILE = "model.json"


def row_of(transaction: CreditCardTransaction) -> dict[str, float]:
    """What the model takes: the request's own fields as numbers."""
    moment = transaction.timestamp
    return {
        "amount": transaction.amount,
        "hour": moment.hour if moment else 0,
        "weekday": moment.weekday() if moment else 0,
        "distance_from_home_km": transaction.distance_from_home_km or 0.0,
        "foreign_transaction": float(transaction.foreign_transaction or False),
        "card_present": float(transaction.card_present or False),
        "used_chip": float(transaction.used_chip or False),
        **{name: float(transaction.merchant_category == name) for name in CATEGORIES},
    }


def create_app() -> FastAPI:
    """The application, its model loaded."""
    model = xgb.XGBClassifier()
    model.load_model(MODEL_FILE)
    app = FastAPI()

    @app.post("/predict")
    def predict(transaction: CreditCardTransaction) -> dict[str, object]:
        probability = float(model.predict_proba(pd.DataFrame([row_of(transaction)]))[0, 1])
        level = "HIGH" if probability > 0.7 else "MEDIUM" if probability > 0.3 else "LOW"
        return {
            "transaction_id": transaction.transaction_id,
            "fraud_probability": probability,
            "risk_level": level,
        }

    return app

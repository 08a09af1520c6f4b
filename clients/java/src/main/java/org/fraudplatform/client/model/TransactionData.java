// Written by clients/generate.py: do not edit.
package org.fraudplatform.client.model;

/** A transaction of any fraud type. */
public sealed interface TransactionData
    permits AccountApplication, AccountAccess, AchTransfer, CreditCardTransaction {

    /** Its name: sent again, it gets its first answer. */
    String transactionId();
}

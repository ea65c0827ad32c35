"""The Pulumi side of encryptdb: parameter groups, the encrypted snapshot copy, the restored instance."""

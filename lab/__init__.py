"""A local AWS to try encryptdb on: moto's server for the API, real PostgreSQL servers for the data."""

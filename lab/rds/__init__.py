"""The RDS API of the lab: moto's, with what differs from AWS put right and real servers behind it."""

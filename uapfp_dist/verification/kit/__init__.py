"""The kit: what an enrolment leaves, and verification needs."""

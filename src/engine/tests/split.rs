//! Owns the test that cuts do not matter: one stream of requests gives the same events and answers wherever it is cut.

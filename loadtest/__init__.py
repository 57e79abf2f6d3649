"""A load test that checks what it is told: every answer's words, every wait, all samples. See README.md."""

"""Training in several pods of one Job: who is who, how they meet, and what they tell each other."""

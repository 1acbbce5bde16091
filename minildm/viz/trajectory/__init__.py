"""The trajectory explorer of chapters 00 and 13: texts on their way from noise to tokens."""

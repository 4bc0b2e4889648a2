"""Floor 3: figures about generated video. Never imports training."""

"""What all figures and widgets share: style, knobs, frames and the player of paths."""

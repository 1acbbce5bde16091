"""What all figures and widgets share: style, knobs and frames."""

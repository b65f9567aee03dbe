"""Whether a file still is the model, and how accurate it is on images."""

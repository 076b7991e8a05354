"""From what a user asked for to a job: plugins, presets, files and weights found, or a refusal."""

"""Personal data and secrets in text: found as byte spans, then masked, flagged, or a reason to drop the document."""

"""Loss detection and repair: what was sent, what arrived, what is lost, when to doubt. No segment, no peer."""

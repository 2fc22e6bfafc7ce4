//! foster called by another init's name.

"""Old and new version side by side: a rolling restart under load that loses nothing and refuses nothing."""

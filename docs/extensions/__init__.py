"""What the site is made of beside the pages in docs/."""

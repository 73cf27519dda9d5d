"""Many pictures: what to do, done here or by a cluster, and what is known of it afterwards."""

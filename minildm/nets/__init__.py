"""Networks: the ground that models stand on."""

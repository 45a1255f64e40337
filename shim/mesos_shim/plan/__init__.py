"""What will be done, as data: the facts of the host and the plan that is made of them."""

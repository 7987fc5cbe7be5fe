# A stack in a VPC that is there already. Its public subnets need a route to an internet gateway, its private ones a way to
# SSM's API: a NAT gateway, or endpoints.
name = "shop"

network {
  vpc_tags            = { Name = "main" }
  public_subnet_tags  = { tier = "public" }
  private_subnet_tags = { tier = "private" }
}

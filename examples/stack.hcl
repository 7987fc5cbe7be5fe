# A stack: its network, its two tiers, and how new instances take the place of old ones. What is left out has a default;
# docs/stack-file.md names it. `goldsmith stack validate examples/stack.hcl` shows what this comes to.

name   = "shop"
region = "eu-central-1"

# Who may log in by SSH, to the web tier alone; the default is the address that this machine is seen under.
operator = "192.0.2.0/28"

# Goldsmith makes the network. One that is there already is named by ids or tags instead:
#   vpc_id              = "vpc-0123456789abcdef0"
#   public_subnet_tags  = { tier = "public" }
#   private_subnet_tags = { tier = "private" }
network {
  cidr         = "10.20.0.0/16"
  public_cidr  = "10.20.1.0/24"
  private_cidr = "10.20.2.0/24"
  # availability_zone = "eu-central-1a", or the first one that has the instance types below
}

tier "db" {
  instance_type = "t3.medium"
  # Where the web tier finds the database, whichever instance that is.
  service_address = "10.20.2.50"

  # The data outlives the instance.
  data_volume {
    size = 40
    iops = 4000
  }

  # Beside SSH, MySQL and ICMP from the web tier.
  rule {
    port        = 9104
    cidr        = "10.20.2.0/24"
    description = "metrics of MySQL"
  }
}

tier "web" {
  # Several instances are kept by an Auto Scaling group.
  count = 3
  tags = {
    team          = "shop"
    "cost:center" = "4711"
  }
  # Beside Goldsmith's own user-data.
  user_data = <<-EOT
    #cloud-config
    timezone: Europe/Berlin
  EOT
}

# A new web instance is good when it has answered three times in a row.
health_check {
  path              = "/health"
  healthy_threshold = 3
}

# A third of the instances is replaced, and watched for a minute, before the others follow. How long all of it may take
# follows from the number of instances, unless timeout says it.
deploy {
  bake_time        = "30s"
  checkpoints      = [34]
  checkpoint_delay = "1m"
}

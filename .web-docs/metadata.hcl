integration {
  name        = "Goldsmith"
  description = "Golden images for a two-tier application on EC2, and a local cloud to bake them on."
  identifier  = "packer/goldsmith-ami/goldsmith"
  component {
    type = "builder"
    name = "goldsmith-ami"
    slug = "ami"
  }
  component {
    type = "provisioner"
    name = "goldsmith-hardening"
    slug = "hardening"
  }
  component {
    type = "provisioner"
    name = "goldsmith-mysql"
    slug = "mysql"
  }
  component {
    type = "provisioner"
    name = "goldsmith-nginx"
    slug = "nginx"
  }
  component {
    type = "provisioner"
    name = "goldsmith-webapp"
    slug = "webapp"
  }
  component {
    type = "provisioner"
    name = "goldsmith-systemd"
    slug = "systemd"
  }
  component {
    type = "provisioner"
    name = "goldsmith-tasks"
    slug = "tasks"
  }
  component {
    type = "provisioner"
    name = "goldsmith-seal"
    slug = "seal"
  }
  component {
    type = "data-source"
    name = "goldsmith-network"
    slug = "network"
  }
  component {
    type = "data-source"
    name = "goldsmith-release"
    slug = "release"
  }
  component {
    type = "post-processor"
    name = "goldsmith-deploy"
    slug = "deploy"
  }
}

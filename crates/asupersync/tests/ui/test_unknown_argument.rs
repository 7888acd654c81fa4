#[asupersync::test(sedes = 8)]
async fn misspelt(_cx: asupersync::Cx) {}

fn main() {}

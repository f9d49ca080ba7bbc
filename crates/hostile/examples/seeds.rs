//! Writes every door's first inputs into a folder of its own: `seeds FOLDER`.

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("usage: seeds FOLDER");
    for door in ring3_hostile::DOORS {
        let folder = std::path::Path::new(&folder).join(door.name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in (door.seeds)().iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}

//! Types of files by the ending of their names: what web pages are made of and what is commonly offered beside them (IANA's
//! registry, and its names in use). Rule: one text without a pointer in it; a table of a thousand types would be a tenth of the
//! library.

/// A type and its endings in each line.
const TABLE: &str = "\
application/atom+xml atom\n\
application/dash+xml mpd\n\
application/epub+zip epub\n\
application/geo+json geojson\n\
application/gzip gz tgz\n\
application/java-archive jar\n\
application/json json map\n\
application/ld+json jsonld\n\
application/manifest+json webmanifest\n\
application/msword doc\n\
application/octet-stream bin\n\
application/pdf pdf\n\
application/pkix-cert cer\n\
application/postscript ps\n\
application/rss+xml rss\n\
application/rtf rtf\n\
application/toml toml\n\
application/vnd.apple.mpegurl m3u8\n\
application/vnd.debian.binary-package deb\n\
application/vnd.ms-excel xls\n\
application/vnd.ms-fontobject eot\n\
application/vnd.ms-powerpoint ppt\n\
application/vnd.oasis.opendocument.presentation odp\n\
application/vnd.oasis.opendocument.spreadsheet ods\n\
application/vnd.oasis.opendocument.text odt\n\
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx\n\
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx\n\
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx\n\
application/vnd.rar rar\n\
application/wasm wasm\n\
application/x-7z-compressed 7z\n\
application/x-brotli br\n\
application/x-bzip2 bz2\n\
application/x-ndjson ndjson\n\
application/x-pem-file pem\n\
application/x-rpm rpm\n\
application/x-sh sh\n\
application/x-tar tar\n\
application/x-x509-ca-cert crt\n\
application/x-xz xz\n\
application/xhtml+xml xhtml\n\
application/xml xml\n\
application/xslt+xml xsl\n\
application/yaml yaml yml\n\
application/zip zip\n\
application/zstd zst\n\
audio/aac aac\n\
audio/flac flac\n\
audio/midi mid midi\n\
audio/mp4 m4a\n\
audio/mpeg mp3\n\
audio/ogg oga ogg opus\n\
audio/wav wav\n\
audio/webm weba\n\
font/otf otf\n\
font/ttf ttf\n\
font/woff woff\n\
font/woff2 woff2\n\
image/apng apng\n\
image/avif avif\n\
image/bmp bmp\n\
image/gif gif\n\
image/heic heic\n\
image/heif heif\n\
image/jpeg jpeg jpg\n\
image/jxl jxl\n\
image/png png\n\
image/svg+xml svg\n\
image/tiff tif tiff\n\
image/vnd.microsoft.icon ico\n\
image/webp webp\n\
text/calendar ics\n\
text/css css\n\
text/csv csv\n\
text/html htm html\n\
text/javascript cjs js mjs\n\
text/markdown md\n\
text/plain conf log txt\n\
text/tab-separated-values tsv\n\
text/vtt vtt\n\
text/x-c c cc h\n\
text/x-diff diff\n\
video/3gpp 3gp\n\
video/mp2t ts\n\
video/mp4 mp4\n\
video/mpeg mpeg mpg\n\
video/ogg ogv\n\
video/quicktime mov\n\
video/webm webm\n\
video/x-m4v m4v\n\
video/x-matroska mkv\n\
video/x-msvideo avi\n\
";

/// The type of an ending, in any case.
pub fn of(ending: &str) -> Option<&'static str> {
    TABLE.lines().find_map(|line| {
        let (kind, endings) = line.split_once(' ')?;
        endings.split(' ').any(|other| other.eq_ignore_ascii_case(ending)).then_some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_ending_has_one_type() {
        let mut seen = HashSet::new();
        for line in TABLE.lines() {
            let (kind, endings) = line.split_once(' ').unwrap();
            assert!(kind.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()), "{line}");
            for ending in endings.split(' ') {
                assert!(!ending.is_empty() && seen.insert(ending), "{line}");
                assert_eq!(of(&ending.to_ascii_uppercase()), Some(kind));
            }
        }
        for nothing in ["", "html5", "text/html", "\n", "htm html"] {
            assert_eq!(of(nothing), None, "{nothing:?}");
        }
    }
}

"""Public datasets: what there is (a plugin's JSON), the download that resumes, and the organ's files out of the zip."""

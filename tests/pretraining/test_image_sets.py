"""Readers of image sets, each on a small copy in the layout that the set ships; deviations and directions
above all.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.helpers.image_sets import MakeSet
from tests.helpers.workbooks import write_old_workbook, write_workbook
from vqafeat.errors import ArgumentError, DatasetError, UnknownNameError
from vqafeat.pretraining.image_sets import IMAGE_SETS, load_image_set
from vqafeat.pretraining.pairs import draw_pairs


def test_image_sets__have_the_numbers_of_pairs_of_the_papers() -> None:
    pairs = {name: reader.pairs for name, reader in IMAGE_SETS.items()}
    assert pairs == {"bid": 20_000, "clive": 40_000, "koniq": 90_000, "spaq": 100_000, "kadid": None}


def test_bid__has_the_deviation_of_its_grades(tmp_path: Path) -> None:
    header = ["Image", "Average", None, "Subject 1", "Subject 2", "Subject 3"]
    rows = [header, [1.0, 3.0, None, 2.0, 4.0, None], [590.0, 4.5, None, 4.0, 4.5, 5.0]]
    write_workbook(tmp_path / "DatabaseGrades.xlsx", rows)
    (tmp_path / "ImageDatabase").mkdir()
    first, second = load_image_set(f"bid={tmp_path}").images
    assert (first.path, first.mos) == (tmp_path / "ImageDatabase" / "DatabaseImage0001.JPG", 3.0)
    assert first.std == pytest.approx(np.std([2, 4], ddof=1))
    assert (second.name, second.mos, second.std) == (
        "DatabaseImage0590.JPG",
        4.5,
        pytest.approx(np.std([4, 4.5, 5], ddof=1)),
    )
    write_workbook(tmp_path / "DatabaseGrades.xlsx", [header, [1.0, 3.0, None, 2.0]])
    with pytest.raises(
        DatasetError, match=r"at least two grades for a standard deviation: DatabaseImage0001.JPG"
    ):
        load_image_set(f"bid={tmp_path}")
    write_workbook(tmp_path / "DatabaseGrades.xlsx", [header, [1.5, 3.0, None, 2.0, 3.0]])
    with pytest.raises(DatasetError, match=r"the first column has to number the images, but holds 1.5"):
        load_image_set(f"bid={tmp_path}")
    write_workbook(tmp_path / "DatabaseGrades.xlsx", [["Image", "MOS"], [1.0, 3.0]])
    with pytest.raises(DatasetError, match=r"has 2 columns; BID's has the image's number"):
        load_image_set(f"bid={tmp_path}")


def test_bid__is_read_from_the_workbook_that_it_ships(tmp_path: Path) -> None:
    # MOS and deviation of image 446 as in the bid_train_score.txt of Li et al.: 1.183522, 0.537262
    grades = 1.183522 + 0.537262 * np.array([-1.0, 0.0, 1.0])
    header = ["Image Number", "Average Subjective Grade", None, "Observer 1", "Observer 2", "Observer 3"]
    write_old_workbook(tmp_path / "DatabaseGrades.xls", [header, [446.0, 1.183522, None, *grades]])
    (tmp_path / "ImageDatabase").mkdir()
    (image,) = load_image_set(f"bid={tmp_path}").images
    assert (image.name, image.mos) == ("DatabaseImage0446.JPG", 1.183522)
    assert image.std == pytest.approx(0.537262)


def write_clive(root: Path, names: list[str], mos: list[float], std: list[float]) -> None:
    (root / "Data").mkdir(parents=True)
    (root / "Images").mkdir()
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    savemat(root / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
    savemat(root / "Data" / "AllMOS_release.mat", {"AllMOS_release": np.array([mos])})
    savemat(root / "Data" / "AllStdDev_release.mat", {"AllStdDev_release": np.array([std])})


def test_clive__leaves_out_its_seven_training_images(tmp_path: Path) -> None:
    names = [*(f"t{number}.bmp" for number in range(1, 8)), "3.bmp", "4.JPG"]
    write_clive(tmp_path / "a", names, [*range(7), 63.96, 25.33], [*range(7), 19.0, 14.5])
    images = load_image_set(f"clive={tmp_path / 'a'}").images
    assert [(image.name, image.mos, image.std) for image in images] == [
        ("3.bmp", 63.96, 19.0),
        ("4.JPG", 25.33, 14.5),
    ]
    assert images[1].path == tmp_path / "a" / "Images" / "4.JPG"
    write_clive(tmp_path / "b", names, [1.0] * 9, [1.0] * 8)
    with pytest.raises(
        DatasetError, match="9 names, 9 MOS and 8 standard deviations, but needs as many of each"
    ):
        load_image_set(f"clive={tmp_path / 'b'}")
    (tmp_path / "b" / "Data" / "AllMOS_release.mat").write_text("nothing")
    with pytest.raises(
        DatasetError, match=r"AllMOS_release.mat' is not a MATLAB file of version 7.2 or older"
    ):
        load_image_set(f"clive={tmp_path / 'b'}")
    savemat(tmp_path / "b" / "Data" / "AllMOS_release.mat", {"MOS": [1.0]})
    with pytest.raises(
        DatasetError, match=r"no variable 'AllMOS_release' \('AllMOS_release' is not among: MOS\)"
    ):
        load_image_set(f"clive={tmp_path / 'b'}")


def test_koniq__takes_the_mean_rating_and_its_deviation(tmp_path: Path) -> None:
    (tmp_path / "1024x768").mkdir()
    (tmp_path / "koniq10k_scores_and_distributions.csv").write_text(
        '"image_name","c1","c2","c3","c4","c5","c_total","MOS","SD","MOS_zscore"\n"10004473376.jpg",0,0,25,73,7,105,3.8286,0.5274,77.38\n'
    )
    (image,) = load_image_set(f"koniq={tmp_path}").images
    assert (image.path, image.mos, image.std) == (tmp_path / "1024x768" / "10004473376.jpg", 3.8286, 0.5274)


def test_spaq__says_what_replaces_the_deviations_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "TestImage").mkdir()
    folder = tmp_path / "Annotations"
    write_workbook(
        folder / "MOS and Image attribute scores.xlsx",
        [["Image name", "MOS", "Brightness"], ["00001.jpg", 25.67, 40.0]],
    )
    actual = load_image_set(f"spaq={tmp_path}")
    (image,) = actual.images
    assert (image.path, image.mos, image.std) == (tmp_path / "TestImage" / "00001.jpg", 25.67, 14.0)
    assert actual.std_source.startswith("SPAQ ships none: 14 of 100 points for each image")
    write_workbook(
        folder / "MOS Std and Image attribute scores.xlsx",
        [["Image name", "MOS", "Std"], ["00001.jpg", 25.67, 11.5]],
    )
    actual = load_image_set(f"spaq={tmp_path}")
    assert (actual.images[0].std, actual.std_source) == (11.5, "column Std")


# the first lines of the lists that Li et al. released, which end in carriage returns alone
RELEASED = "TestImage/09320.jpg\t58.570000\t6.754187\rTestImage/10618.jpg\t41.000000\t7.771744\r"
RELEASED_TEST = "TestImage/08681.jpg\t44.380000\t14.272226\rTestImage/00001.jpg\t48.860000\t17.553998\r"


def test_spaq__reads_the_released_deviations_in_the_order_of_its_workbook(tmp_path: Path) -> None:
    (tmp_path / "TestImage").mkdir()
    write_workbook(
        tmp_path / "MOS and Image attribute scores.xlsx", [["Image name", "MOS"], ["00001.jpg", 48.86]]
    )
    (tmp_path / "spaq_train_score.txt").write_bytes(RELEASED.encode())
    with pytest.raises(DatasetError, match=r"'spaq_test.txt' is missing next to it; copy both, which share"):
        load_image_set(f"spaq={tmp_path}")
    (tmp_path / "spaq_test.txt").write_bytes(RELEASED_TEST.encode())
    actual = load_image_set(f"spaq={tmp_path}")
    assert (actual.labels.name, actual.std_source) == ("spaq_train_score.txt", "column Std")
    assert [(image.path, image.mos, image.std) for image in actual.images] == [
        (tmp_path / "TestImage" / "00001.jpg", 48.86, 17.553998),
        (tmp_path / "TestImage" / "08681.jpg", 44.38, 14.272226),
        (tmp_path / "TestImage" / "09320.jpg", 58.57, 6.754187),
        (tmp_path / "TestImage" / "10618.jpg", 41.0, 7.771744),
    ]
    (pairs,) = draw_pairs([actual], {}, 0, seed=0)
    assert (
        np.abs(pairs.std_order).tolist() == [1] * 6
    )  # with one deviation for all, no pair would have an order
    (tmp_path / "spaq_test.txt").write_text("TestImage/08681.jpg\t44.38\n")
    with pytest.raises(
        DatasetError, match=r"image, MOS and std are not in line 1 '08681.jpg'; fetch both lists"
    ):
        load_image_set(f"spaq={tmp_path}")


def test_kadid__is_higher_for_better_images_and_grouped_by_reference(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "dmos.csv").write_text(
        "dist_img,ref_img,dmos,var\nI01_01_01.png,I01.png,4.57,0.496\nI01_01_02.png,I01.png,4.33,0.869\n"
    )
    mild, worse = load_image_set(f"kadid={tmp_path}").images
    assert (mild.mos, mild.std, mild.content) == (4.57, 0.496, "I01.png")
    assert worse.mos < mild.mos
    # thirty ratings of whole points: their sum of squares is whole if the column holds deviations, and not if
    # it holds variances
    for image in (mild, worse):
        rating_sum = round(30 * image.mos)
        squares = 30 * image.std**2 + rating_sum**2 / 30
        assert squares == pytest.approx(round(squares), abs=0.03)
        as_variance = 30 * image.std + rating_sum**2 / 30
        assert abs(as_variance - round(as_variance)) > 0.3


def test_load_image_set__own_images_are_a_csv(make_set: MakeSet, tmp_path: Path) -> None:
    path = make_set(4)
    actual = load_image_set(f"mine={path}")
    assert (actual.name, len(actual.images)) == ("mine", 4)
    assert (actual.images[1].path, actual.images[1].std, actual.images[1].content) == (
        path.parent / "01.png",
        0.9,
        "01.png",
    )
    (tmp_path / "c.csv").write_text("image,mos,std,content\na.png,1,0.5,x\nb.png,2,0.5,\n")
    assert [image.content for image in load_image_set(f"mine={tmp_path / 'c.csv'}").images] == ["x", "b.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image,mos\na.png,1\n",
            r"has the columns image,mos, not image,mos,std and optionally content. .* write the same for all",
        ),
        ("image,mos,std,note\na.png,1,1,x\n", "has the columns image,mos,std,note, not image,mos,std and"),
        (
            "image,mos,std\na.png,nan,1\n",
            r"image set 'mine': .*bad.csv': 1 labels are not finite numbers .*: a.png \(MOS nan, std 1.0\); "
            r"correct them",
        ),
        ("image,mos,std\na.png,1,\n", r"with a std of at least 0: a.png \(MOS 1.0, std nan\)"),
        ("image,mos,std\na.png,1,-2\n", r"a.png \(MOS 1.0, std -2.0\)"),
        ("image,mos,std\na.png,good,1\n", "1 labels are not numbers: line 2 'good'"),
        ("image,mos,std\na.png,1,1\na.png,2,1\n", "lists images twice: a.png"),
        ("image,mos,std\n", "lists no images"),
    ],
)
def test_load_image_set__refuses_labels_with_their_image(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load_image_set(f"mine={tmp_path / 'bad.csv'}")


def test_load_image_set__refuses_arguments_that_name_no_set(tmp_path: Path) -> None:
    with pytest.raises(
        ArgumentError,
        match=r"--images koniq has to be NAME=FOLDER with a known set \(bid, clive, koniq, spaq, kadid\)",
    ):
        load_image_set("koniq")
    with pytest.raises(UnknownNameError, match="unknown image set 'konic': did you mean koniq"):
        load_image_set(f"konic={tmp_path}")
    with pytest.raises(DatasetError, match=r"is not a folder; give the folder of 'bid' as it ships"):
        load_image_set(f"bid={tmp_path / 'none'}")
    with pytest.raises(
        DatasetError,
        match=r"holds no label file of KonIQ-10k; looked for koniq10k_scores_and_distributions.csv",
    ):
        load_image_set(f"koniq={tmp_path}")
